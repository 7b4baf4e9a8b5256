# A process that holds one data set and fits it with glmnet on request: the far end of
# benchmarks/adapters/glmnet.py, which starts it and says what the files hold.
#
#     Rscript fit.R FOLDER
#
# Requests are lines on the standard input, answers lines on the standard output; numbers go
# through files in FOLDER. "softmax 0.01 1 1e-7 20 TRUE" asks for a fit with this lambda, alpha
# and thresh at the end of a path of 20 values of lambda, with intercepts. The answer is
# "fitted SECONDS PASSES LOSS...", or "failed WHY". "path 100 1 1e-7 TRUE" asks for softmax at each
# of the 100 values of lambda in lambda.bin, with this alpha and thresh; the answer has no losses.

suppressPackageStartupMessages(library(glmnet))
folder <- commandArgs(trailingOnly = TRUE)[1]
at <- function(name) file.path(folder, name)

integers <- function(name, count) readBin(at(name), "integer", count, size = 4)
doubles <- function(name, count) readBin(at(name), "double", count, size = 8)

shape <- as.integer(strsplit(readLines(at("shape.txt")), " ")[[1]])
n <- shape[1]; p <- shape[2]; K <- shape[3]; entries <- shape[4]
if (entries < 0) {
  X <- matrix(doubles("x.bin", as.double(n) * p), n, p)
} else {
  X <- Matrix::sparseMatrix(
    i = integers("rows.bin", entries), p = integers("starts.bin", p + 1),
    x = doubles("x.bin", entries), dims = c(n, p), index1 = FALSE
  )
}
y <- integers("y.bin", n)
unlink(at(c("shape.txt", "x.bin", "rows.bin", "starts.bin", "y.bin")))
# never to end a path early: the last lambda is the one that is asked for
glmnet.control(fdev = 0, devmax = 1)

# The values of lambda from the first that is of any use to the one wanted, in equal ratios.
path_to <- function(code, lambda, alpha, length, intercept) {
  classes <- max(code) + 1
  target <- outer(code, 0:(classes - 1), `==`) + 0
  share <- if (intercept) colMeans(target) else rep(1 / classes, classes)
  residual <- sweep(target, 2, share)
  if (classes == 2) residual <- residual[, 2, drop = FALSE]
  first <- max(abs(as.matrix(Matrix::crossprod(X, residual)))) / n / alpha
  if (length < 2 || first <= lambda) return(lambda)
  path <- exp(seq(log(first), log(lambda), length.out = length))
  path[length] <- lambda
  path
}

# One problem along a path: coefficients (rows * p, lambdas), sparse, one row of them after the
# other; intercepts (rows, lambdas); seconds, passes, mean losses.
fit_path <- function(code, path, alpha, thresh, intercept) {
  family <- if (max(code) > 1) "multinomial" else "binomial"
  start <- Sys.time()
  fit <- glmnet(
    X, factor(code), family = family, alpha = alpha, lambda = path, standardize = FALSE,
    intercept = intercept, thresh = thresh, maxit = 1e9
  )
  seconds <- as.numeric(difftime(Sys.time(), start, units = "secs"))
  if (length(fit$lambda) < length(path)) stop("it gave up before the last lambda")
  coef <- if (family == "multinomial") do.call(rbind, unname(fit$beta)) else fit$beta
  loss <- fit$nulldev * (1 - fit$dev.ratio) / 2 / n
  list(coef = coef, offset = rbind(fit$a0), seconds = seconds, passes = fit$npasses, loss = loss)
}

# The end of a path: coefficients (rows, p), intercepts, seconds, passes, mean loss.
fit_one <- function(code, lambda, alpha, thresh, length, intercept) {
  path <- path_to(code, lambda, alpha, length, intercept)
  fit <- fit_path(code, path, alpha, thresh, intercept)
  last <- length(path)
  fit$coef <- matrix(as.numeric(fit$coef[, last]), ncol = p, byrow = TRUE)
  fit$offset <- fit$offset[, last]
  fit$loss <- fit$loss[last]
  fit
}

answer <- function(request) {
  words <- strsplit(request, " ")[[1]]
  if (words[1] == "path") return(answer_path(as.numeric(words[2:4]), as.logical(words[5])))
  numbers <- as.numeric(words[2:5])
  apart <- words[1] == "ova" && K > 2
  codes <- if (apart) lapply(0:(K - 1), function(k) as.integer(y == k)) else list(y)
  fits <- lapply(codes, function(code) {
    fit_one(code, numbers[1], numbers[2], numbers[3], numbers[4], as.logical(words[6]))
  })
  coef <- do.call(rbind, lapply(fits, function(fit) fit$coef))
  offset <- unlist(lapply(fits, function(fit) fit$offset))
  writeBin(as.double(cbind(coef, offset)), at("fitted.bin"), size = 8)
  total <- function(name) sum(sapply(fits, function(fit) fit[[name]]))
  losses <- sapply(fits, function(fit) format(fit$loss, digits = 17))
  paste("fitted", format(total("seconds"), digits = 17), total("passes"),
        paste(losses, collapse = " "))
}

answer_path <- function(numbers, intercept) {
  fit <- fit_path(y, doubles("lambda.bin", numbers[1]), numbers[2], numbers[3], intercept)
  writeBin(fit$coef@i, at("rows.bin"), size = 4)
  writeBin(fit$coef@p, at("starts.bin"), size = 4)
  writeBin(fit$coef@x, at("x.bin"), size = 8)
  writeBin(as.double(fit$offset), at("offsets.bin"), size = 8)
  paste("fitted", format(fit$seconds, digits = 17), fit$passes)
}

say <- function(line) { cat(gsub("\n", " ", line), "\n", sep = ""); flush(stdout()) }

say(paste("ready", packageVersion("glmnet"), paste(R.version$major, R.version$minor, sep = ".")))
requests <- file("stdin", open = "r")
while (length(request <- readLines(requests, 1)) > 0) {
  say(tryCatch(answer(request), error = function(e) paste("failed", conditionMessage(e))))
}
