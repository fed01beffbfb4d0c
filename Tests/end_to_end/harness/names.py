# SPDX-License-Identifier: Apache-2.0
"""A host name that leads where the test says, for one program: no file of the machine is changed, so no root is needed."""

import subprocess

from .postgres import folder

NAME = "moving.test"

SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **result) {
    int (*next)(const char *, const char *, const struct addrinfo *, struct addrinfo **) =
        dlsym(RTLD_NEXT, "getaddrinfo");
    char address[64] = "";
    if (node != NULL && strcmp(node, "moving.test") == 0) {
        FILE *file = fopen(getenv("MOVING_ADDRESS"), "r");
        if (file == NULL) return EAI_AGAIN;
        if (fscanf(file, "%63s", address) != 1) address[0] = 0;
        fclose(file);
        if (address[0] == 0) return EAI_NONAME;
        node = address;
    }
    return next(node, service, hints, result);
}
"""


class MovingName:
    """`moving.test`, as programs that are started with its `environment` find it."""

    def __init__(self, address):
        self.folder = folder("names")
        source, library = self.folder / "names.c", self.folder / "names.so"
        source.write_text(SOURCE)
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
        self.file = self.folder / "address"
        self.environment = {"LD_PRELOAD": str(library), "MOVING_ADDRESS": str(self.file)}
        self.lead_to(address)

    def lead_to(self, address):
        """To nowhere with an empty one."""
        fresh = self.folder / "fresh"
        fresh.write_text(address + "\n")
        fresh.rename(self.file)
