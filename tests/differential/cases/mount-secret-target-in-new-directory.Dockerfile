FROM diff-base
RUN --mount=type=secret,id=token,target=/deep/er/token cat /deep/er/token > /seen
# with: --secret id=token,src={context}/a.txt --secret id=other,src={context}/b.txt
