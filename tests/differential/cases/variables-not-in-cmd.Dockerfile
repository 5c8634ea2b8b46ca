FROM scratch
COPY a.txt /
ENV V=v
CMD echo $V
ENTRYPOINT ["$V"]
