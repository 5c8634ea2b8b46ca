FROM scratch
COPY a.txt /
LABEL one=1 two="2 2" "quoted key"="quoted value"
LABEL legacy a legacy value
LABEL multi="first \
second" one=changed
ENV V=expanded
LABEL var=$V literal='$V'
