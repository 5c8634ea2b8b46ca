FROM scratch AS one
COPY a.txt /f
FROM scratch AS two
COPY b.txt /f
FROM scratch
COPY --from=two /f /two
COPY --from=one /f /one
COPY --from=0 /f /zero
