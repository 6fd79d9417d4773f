"""Fetches a source package through pip's own settings (index, proxy, certificates) without running any of its code.

usage: python3 fetch-sdist.py NAME VERSION SHA256 FOLDER

`pip download` would run the package's setup script, and this one's writes into root's home.
"""

import hashlib
import pathlib
import sys

from pip._internal.commands.download import DownloadCommand
from pip._vendor.packaging.specifiers import SpecifierSet

name, version, sha256, folder = sys.argv[1:]
command = DownloadCommand("download", "fetches a source package")
options, _ = command.parse_args(["--no-binary", ":all:", "--quiet", name])
with command.main_context():
    session = command.get_default_session(options)
    finder = command._build_package_finder(options, session)
    found = finder.find_best_candidate(name, SpecifierSet(f"=={version}")).best_candidate
    if found is None:
        sys.exit(f"the package index has no {name} {version}")
    answer = session.get(found.link.url_without_fragment)
    answer.raise_for_status()
    if hashlib.sha256(answer.content).hexdigest() != sha256:
        sys.exit(f"{found.link.filename} is not the file that was expected: its SHA-256 differs")
    (pathlib.Path(folder) / found.link.filename).write_bytes(answer.content)
