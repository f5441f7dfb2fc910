#!/bin/sh
# solc from npm behind solc's own command line: lies in build/solcx and, as a link, in build/bin.
case "$1" in
--version)
    # The tools that read this expect the words of a native build.
    printf 'solc, the solidity compiler commandline interface\n'
    printf 'Version: 0.8.30+commit.73712a01.Linux.g++\n'
    exit 0
    ;;
esac
exec node --stack-size=4000 "$(dirname "$0")/../../scripts/setup/solc.js" "$@"
