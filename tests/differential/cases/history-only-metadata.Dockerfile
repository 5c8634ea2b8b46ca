FROM diff-base
LABEL only=metadata
CMD ["sh"]
