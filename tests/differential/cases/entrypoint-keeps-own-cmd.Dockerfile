FROM diff-base
CMD ["own"]
ENTRYPOINT ["/entry"]
