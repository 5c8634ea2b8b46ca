FROM scratch
COPY a.txt /
ARG P=90
ENV Q=91/udp
EXPOSE $P $Q ${R:-92}
