FROM scratch
COPY a.txt /
MAINTAINER one
MAINTAINER two <two@example.com>
