hvariable "TAG" {
  default = "x"
  type = string
  validation {
    condition = TAG != ""
    error_message = "no"
  }
}
variable "L" { default = ["a", "b"] }
function "f" {
  params = [a]
  variadic_params = r
  result = "${upper(a)}-%{ if TAG == "x" }y%{ else }z%{ endif }"
}
group "default" { targets = ["t", "m"] }
target "_base" { args = { V = null, "w" = 1 + 2 * 3 } }
target "t" {
  inherits = ["_base"]
  context = "."
  dockerfile-inline = <<-EOT
    FROM scratch ${f("q", "r")}
  EOT
  tags = [for i, v in L : "a/${v}:${i}" if v != "b"]
  platforms = ["linux/amd64"]
  contexts = { b = "target:m" }
  cache-to = [{ type = "registry", ref = "x" }]
  secret = ["id=a,src=b"]
  output = ["type=image,push=false"]
}
target "m" {
  name = "m-${replace(x, ".", "-")}"
  matrix = { x = ["1.0", "2"], y = [{ a = 1 }] }
  args = { A = y.a > 0 ? x : TAG, B = L[*], C = try(L[9], "z") }
}
%%
t.args.X=1
*.platform=linux/arm64
t.tags+=q
