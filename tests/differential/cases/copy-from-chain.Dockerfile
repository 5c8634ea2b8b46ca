FROM scratch AS one
COPY a.txt /1
FROM scratch AS two
COPY --from=one /1 /2
FROM scratch AS three
COPY --from=two /2 /3
FROM scratch
COPY --from=three /3 /4
