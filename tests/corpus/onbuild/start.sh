#!/bin/sh
. ./service.conf
echo "$GREETING from $name as $(id -un) in $(pwd)"
