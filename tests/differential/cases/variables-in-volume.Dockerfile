FROM scratch
COPY a.txt /
ENV V=/v
VOLUME $V ${V}2
VOLUME ["$V/3"]
