# SPDX-License-Identifier: Apache-2.0
"""The report of scripts/pglease-acceptance, which is one file that can be copied, for the checks here."""

from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

PATH = Path(__file__).resolve().parents[2] / "scripts/pglease-acceptance"


def loaded():
    loader = SourceFileLoader("pglease_acceptance", str(PATH))
    module = module_from_spec(spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


Report = loaded().Report
