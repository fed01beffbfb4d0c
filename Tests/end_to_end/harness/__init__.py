# SPDX-License-Identifier: Apache-2.0
"""What the end-to-end tests stand on: a private PostgreSQL, a pooler, a raw client, a faucet."""
