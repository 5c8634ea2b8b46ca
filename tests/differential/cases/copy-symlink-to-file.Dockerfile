FROM scratch
COPY link /dst/
