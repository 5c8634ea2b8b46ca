FROM diff-base AS p
CMD ["parent"]
FROM p
RUN true
