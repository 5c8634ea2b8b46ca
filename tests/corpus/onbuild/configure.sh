#!/bin/sh
set -e
echo "name=$1" > service.conf
chown service service.conf
