FROM scratch AS Build
COPY a.txt /f
FROM scratch
COPY --from=BUILD /f /f
