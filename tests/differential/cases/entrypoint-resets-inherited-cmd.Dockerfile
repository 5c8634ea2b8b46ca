FROM diff-base AS parent
CMD ["inherited"]
FROM parent
ENTRYPOINT ["/entry"]
