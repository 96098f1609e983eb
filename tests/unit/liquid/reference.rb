# Fill reference.json with what Shopify Liquid gives: every call, over every value, as JSON; null is an error.
# Run with TZ=UTC and the gem liquid (Debian: ruby-liquid). Lists and objects become text as JSON does, as here.
require 'json'
require 'liquid'

module Jsonb
  def self.of(value)
    case value
    when Hash
      pairs = value.sort_by { |key, _| [key.bytesize, key] }.map { |key, inner| "#{key.to_json}: #{of(inner)}" }
      "{#{pairs.join(', ')}}"
    when Array then "[#{value.map { |inner| of(inner) }.join(', ')}]"
    else value.to_json
    end
  end

  def to_s = Jsonb.of(self)
end

Array.prepend(Jsonb)
Hash.prepend(Jsonb)
Liquid::Template.register_filter(Module.new do
  def result(value)
    case value
    when String then value.dup.force_encoding('UTF-8').scrub.to_json
    when Float then value.finite? ? value.to_json : value.to_s.to_json
    else value.to_json
    end
  end
end)

path = File.join(__dir__, 'reference.json')
reference = JSON.parse(File.read(path))
values = reference['values']
calls = reference['calls'].map do |call, _|
  template = Liquid::Template.parse("{{ value | #{call} | result }}", error_mode: :strict)
  results = values.map do |value|
    given = { 'value' => value, 'list' => %w[a b], 'object' => { 'a' => 1 } }
    template.render!(JSON.parse(given.to_json))
  rescue Liquid::Error
    nil
  end
  [call, results]
end
lines = calls.map { |call| "    #{call.to_json}" }.join(",\n")
File.write(path, <<~TEXT)
  {
    "source": "Shopify Liquid #{Liquid::VERSION}",
    "values": #{values.to_json},
    "calls": [
  #{lines}
    ]
  }
TEXT
