FROM scratch
COPY hard /hard
