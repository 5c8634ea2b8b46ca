FROM scratch
COPY a.txt /
WORKDIR /
