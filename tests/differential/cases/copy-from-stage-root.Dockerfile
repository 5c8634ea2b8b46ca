FROM scratch AS one
COPY dir /d
COPY a.txt /
FROM scratch
COPY --from=one / /all/
