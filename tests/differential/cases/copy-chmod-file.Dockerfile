FROM scratch
COPY --chmod=0400 a.txt b.txt /
