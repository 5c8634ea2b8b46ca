FROM diff-base
RUN test -s /etc/hosts && test -s /etc/resolv.conf && hostname > /name
