FROM scratch
COPY dir/ /dst/
