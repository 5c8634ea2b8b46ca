FROM scratch
COPY a.txt /
MAINTAINER A Potter <potter@example.org>
STOPSIGNAL SIGUSR1
STOPSIGNAL 9
