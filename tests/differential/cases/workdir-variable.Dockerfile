FROM scratch
ENV BASE=/opt NAME=app
WORKDIR $BASE/${NAME}
WORKDIR ../other
