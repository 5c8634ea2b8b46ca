FROM scratch
COPY a.txt /
ENV ONE=1 TWO="2 2" THREE='3 "3"' FOUR=4\ 4
ENV LEGACY a value with   spaces
ENV ONE=changed FIVE=$ONE SIX=${TWO}6
ENV EMPTY= QUOTED_EMPTY=""
