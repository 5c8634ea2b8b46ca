FROM scratch
COPY a.txt /
ENTRYPOINT ["/entry"]
CMD ["default"]
