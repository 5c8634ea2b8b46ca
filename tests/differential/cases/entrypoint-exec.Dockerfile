FROM scratch
ENTRYPOINT ["/entry"]
CMD ["default"]
