/* SPDX-License-Identifier: MIT
 *
 * The headers as C++: a class that keeps its requests as members, with lambdas for callbacks.
 */
#include <uvflow.h>
/* each header stands alone and may come twice */
#include <uvflow/base.h>
#include <uvflow/codec.h>
#include <uvflow/context.h>
#include <uvflow/io.h>
#include <uvflow/serve.h>
#include <uvflow/work.h>

#include <cstdio>

/* a typed key of a type that is const */
UVF_VALUE(tenant, const char);
UVF_VALUE_DEFINE(tenant, const char);

namespace {

class Search {
public:
  int run() {
    uv_loop_t loop;
    uvf_ctx_t *root = nullptr;
    uvf_ctx_t *ctx = nullptr;
    if (uv_loop_init(&loop) != 0) return 1;
    if (uvf_ctx_background(&loop, &root) != 0) return 1;
    if (uvf_ctx_with_cancel(root, &ctx) != 0) return 1;

    uvf_ctx_t *named = nullptr;
    static const char name[] = "acme";
    if (tenant_with(ctx, name, nullptr, &named) != 0 || tenant_of(named) != name || tenant_of(ctx) != nullptr) return 1;
    uvf_ctx_release(named);

    watch_.data = this;
    int err = uvf_ctx_on_done(
        ctx, &watch_, [](uvf_watch_t *watch, int status) { static_cast<Search *>(watch->data)->ended_with_ = status; });
    if (err != 0) return 1;

    job_.data = this;
    err = uvf_work_start(
        ctx, &job_,
        [](uvf_work_t *job) {
          int tens = 4, ones = 2; /* a comma that no parenthesis hides from the preprocessor */
          static_cast<Search *>(job->data)->found_ = 10 * tens + ones;
          return 0;
        },
        [](uvf_work_t *job, int status) {
          auto *self = static_cast<Search *>(job->data);
          if (status == 0) self->answer_ = self->found_;
          uvf_ctx_cancel(job->ctx);
        },
        nullptr);
    if (err != 0) return 1;

    uvf_ctx_release(ctx);
    uv_run(&loop, UV_RUN_DEFAULT);
    uvf_ctx_close(root, nullptr);
    uv_run(&loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&loop) != 0) return 1;
    return answer_ == 42 && ended_with_ == UV_ECANCELED ? 0 : 1;
  }

private:
  uvf_work_t job_;
  uvf_watch_t watch_;
  int found_ = 0;
  int answer_ = 0;
  int ended_with_ = 0;
};

} // namespace

int main() {
  int failed = Search().run();
  if (!failed) std::printf("uvflow %s works\n", uvf_version_string());
  return failed;
}
