FROM scratch
ENV D=/one
WORKDIR $D/two
WORKDIR ${X:-three}
