"""``python -m fedgen``."""

from fedgen.cli import main

if __name__ == "__main__":
    main()
