"""What the site is made of: the repository's own pages, where they are.

The site mirrors the tree, so a link between pages leads to the same one on the site and in a
checkout. Files that pages link to are on the site, too; folders are named in words.
"""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("experiments/*.md")]
LINK = re.compile(r"\[([^\[\]]*)\]\(([^)#\s]+)[^)\s]*\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Take the tree's pages and what they link to, instead of the files of one folder."""
    linked = {
        (page.parent / target).resolve()
        for page in PAGES
        for _, target in LINK.findall(page.read_text(encoding="utf-8"))
        if not target.startswith("http")
    }
    theme = [file for file in files if file.src_dir != config.docs_dir]
    paths = sorted({*PAGES, *ROOT.glob("docs/*.css"), *(path for path in linked if path.is_file())})
    own = [
        File(str(path.relative_to(ROOT)), str(ROOT), config.site_dir, config.use_directory_urls)
        for path in paths
    ]
    return Files([*theme, *own])


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Say where a linked folder is in the repository: a site has no folders to look into."""
    here = (ROOT / page.file.src_uri).parent

    def named(link: re.Match[str]) -> str:
        text, target = link.groups()
        folder = (here / target).resolve()
        if target.startswith("http") or not folder.is_dir():
            return link.group()
        path = str(folder.relative_to(ROOT))
        return f"`{path}`" if path.endswith(text.strip("/`")) else f"{text} in `{path}`"

    return LINK.sub(named, markdown)
