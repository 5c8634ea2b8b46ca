FROM diff-base
ENTRYPOINT ["/e"]
CMD ["c"]
