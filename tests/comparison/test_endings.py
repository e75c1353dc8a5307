"""What a client that was never asked goes on with."""

from fedgen.comparison.endings import _typical
from strategies.core.hyperparameters import Genome


def test_a_typical_genome_is_the_median_gene_by_gene() -> None:
    genomes = [
        Genome(0.1, 8, local_epochs=1, momentum=0.5, clip_norm=1.0),
        Genome(0.3, 16, local_epochs=2, momentum=0.9),
        Genome(0.2, 64, local_epochs=4, momentum=0.7, clip_norm=2.0),
        Genome(0.4, 32, local_epochs=4, momentum=0.8, clip_norm=3.0),
    ]
    # Of an even number whole numbers take the lower middle one; not everybody clips.
    assert _typical(genomes) == Genome(0.25, 16, local_epochs=2, momentum=0.75)
