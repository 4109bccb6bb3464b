"""`python -m imagetrail.cli`: the command line where no script is installed, as under torchrun."""

from imagetrail.cli.main import main

main()
