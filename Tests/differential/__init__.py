# SPDX-License-Identifier: Apache-2.0
"""The same random client program on a connection of its own and through a broker: every answer compared."""
