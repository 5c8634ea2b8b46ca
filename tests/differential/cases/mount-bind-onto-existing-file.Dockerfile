FROM diff-base
RUN --mount=source=a.txt,target=/etc/motd cat /etc/motd > /seen
RUN cat /etc/motd > /after
