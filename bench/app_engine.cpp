#include "bench/app_engine.hpp"

#include <map>

namespace coel::bench {

namespace {

using clock = std::chrono::steady_clock;

constexpr std::chrono::minutes patience{5}; // without any token

double seconds(clock::duration d) {
  return std::chrono::duration<double>(d).count();
}

class app_engine : public engine {
 public:
  app_engine(net::app_client app, std::string model)
      : app_(std::move(app)), model_(std::move(model)) {}

  result<std::vector<run_times>> generate(const std::vector<std::vector<int32_t>>& prompts,
                                          uint32_t tokens) override {
    std::vector<run_times> times(prompts.size());
    std::map<uint64_t, run> running;
    auto start = clock::now();
    for (size_t i = 0; i < prompts.size(); ++i) {
      auto id = app_.send(request(prompts[i], tokens));
      if (!id)
        return id.err();
      running[*id] = {i, {}};
    }
    while (!running.empty()) {
      auto got = app_.poll(patience);
      if (!got)
        return got.err();
      if (!*got)
        return {ec::deadline, "the node has not sent a token for five minutes"};
      if (auto failure = take(**got, running, times, start))
        return *failure;
    }
    return times;
  }

 private:
  struct run {
    size_t prompt = 0;
    clock::time_point first;
  };

  generate_request request(const std::vector<int32_t>& prompt, uint32_t tokens) const {
    generate_request r;
    r.model = model_;
    r.tokens = prompt;
    r.max_tokens = tokens;
    r.ignore_end = true;
    r.sampling.temperature = 0;
    return r;
  }

  std::optional<error> take(const net::app_client::incoming& in, std::map<uint64_t, run>& running,
                            std::vector<run_times>& times, clock::time_point start) {
    auto at = running.find(in.id);
    if (const auto* failure = std::get_if<error>(&in.reply))
      return *failure;
    if (at == running.end())
      return {};
    auto now = clock::now();
    auto& [prompt, first] = at->second;
    if (std::holds_alternative<token_reply>(in.reply) && first == clock::time_point{}) {
      first = now;
      times[prompt].prompt_s = seconds(now - start);
    } else if (const auto* last = std::get_if<done_reply>(&in.reply)) {
      times[prompt].decode_s = seconds(now - first);
      times[prompt].decoded = last->answer_tokens - 1;
      running.erase(at);
    }
    return {};
  }

  net::app_client app_;
  std::string model_;
};

} // namespace

result<engine_ptr> make_app_engine(const net::app_client_options& to, const std::string& model) {
  auto app = net::app_client::connect(to);
  if (!app)
    return app.err();
  return engine_ptr(std::make_unique<app_engine>(std::move(*app), model));
}

} // namespace coel::bench
