FROM scratch AS one
COPY dir /d
FROM scratch
COPY --from=one /d/x.txt /
