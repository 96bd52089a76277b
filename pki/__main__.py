"""`python -m pki client NAME --cluster shelf`: a second person may use the cluster."""

from __future__ import annotations

import argparse
import datetime as dt
import sys
from pathlib import Path

from pki.authority import LEAF_LIFE, Authority
from pki.context import ENGINE_PORT, docker_config_folder, leads_to
from pki.folder import existing_folder
from pki.key import KeyRing
from pki.passphrase import passphrases
from pki.people import Access, admit

_ROOT = Path(__file__).parent.parent
_MOST_DAYS = 3650


def main() -> int:
    """Do what the command line says; the exit code."""
    wanted = _parser().parse_args()
    try:
        folder = existing_folder(wanted.cluster, wanted.root)
        authority = Authority.load(folder, KeyRing(passphrases(wanted.passphrase_file)))
        if authority.former:
            return _failed("the cluster is changing its CA; finish that first (deploys/rotate_ca.py), then try again")
        access = admit(authority, folder, wanted.name, dt.timedelta(days=wanted.days), renew=wanted.renew)
    except ValueError as error:
        return _failed(str(error))
    except OSError as error:
        return _failed(f"{error.filename}: {error.strerror}")
    except KeyboardInterrupt:
        return _failed("stopped; the same command again does it")
    if authority.warning:
        sys.stderr.write(f"Warning: {authority.warning}\n")
    sys.stdout.write(_told(access, wanted.name, wanted.cluster))
    return 0


def _told(access: Access, name: str, cluster: str) -> str:
    """What to do with the files, as one can paste it."""
    host = leads_to(cluster, docker_config_folder())
    address = host or f"tcp://ADDRESS:{ENGINE_PORT}"
    return (
        f"{'Made anew' if access.changed else 'Still good, and left as it is'}: "
        f"{name} may administer the cluster {cluster} until {access.until:%Y-%m-%d}, with the files in\n"
        f"  {access.folder}\n"
        f"Give them to {name} so that nobody else can read them. In the folder with them, {name} then types:\n\n"
        f'  docker context create {cluster} --docker "host={address},ca=ca.pem,cert=cert.pem,key=key.pem"\n'
        f"  docker --context {cluster} node ls\n" + ("" if host else "\nwhere ADDRESS is a manager's.\n")
    )


def _failed(why: str) -> int:
    sys.stderr.write(f"Error: {why}\n")
    return 1


def _days(text: str) -> int:
    days = int(text)
    if not 1 <= days <= _MOST_DAYS:
        raise argparse.ArgumentTypeError(f"{days} is not from 1 to {_MOST_DAYS}")
    return days


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pki", description=__doc__)
    client = parser.add_subparsers(required=True, metavar="COMMAND").add_parser(
        "client",
        help="certify a person or a program as a client of the cluster",
        description="Certify a person or a program as a client of the cluster, in .cluster/CLUSTER/clients/NAME/.",
        epilog="Engines know no revocation: to take access away, remove the folder and run deploys/rotate_ca.py.",
    )
    client.add_argument("name", metavar="NAME", help="who it is for")
    client.add_argument("--cluster", required=True, help="the cluster's name, as in group_data/all.py")
    client.add_argument("--days", type=_days, default=LEAF_LIFE.days, help="how long, at most (default: %(default)s)")
    client.add_argument("--renew", action="store_true", help="make it anew, though the present one is still good")
    client.add_argument(
        "--passphrase-file",
        metavar="FILE",
        help="its first line opens the CA's key, if that is encrypted; without it you are asked",
    )
    client.add_argument(
        "--root", type=Path, default=_ROOT, metavar="FOLDER", help="where .cluster/ is (default: this clone)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
