#!/bin/sh
stat -c '%u:%g %a %n' /srv/files /srv/files/b.txt /root/secret.txt /usr/local/bin/tool
cat /etc/alias /srv/real/a.txt
