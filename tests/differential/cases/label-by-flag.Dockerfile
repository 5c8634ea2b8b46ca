FROM scratch
COPY a.txt /
LABEL a=file b=file
# with: --label a=flag --label c=flag
