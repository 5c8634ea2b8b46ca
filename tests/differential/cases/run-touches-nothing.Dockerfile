FROM diff-base
RUN true
RUN cat /etc/motd
