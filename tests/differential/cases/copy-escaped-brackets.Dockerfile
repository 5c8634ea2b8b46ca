FROM scratch
COPY [[]brackets].txt /
