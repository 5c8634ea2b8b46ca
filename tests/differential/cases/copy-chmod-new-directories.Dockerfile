FROM scratch
COPY --chmod=0711 script.sh /usr/bin/tool
