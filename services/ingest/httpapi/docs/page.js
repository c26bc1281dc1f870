// What the reader does not do by itself.
const reader = document.querySelector('rapi-doc')

// It follows the colours of the system.
const dark = matchMedia('(prefers-color-scheme: dark)')
const paint = () => reader.setAttribute('theme', dark.matches ? 'dark' : 'light')
dark.addEventListener('change', paint)
paint()

// It would fill in an example for every parameter of a list, which together
// find nothing. They are told beside the field instead.
reader.addEventListener('before-render', ({ detail: { spec } }) => {
  for (const path of Object.values(spec.paths)) {
    for (const { parameters = [] } of Object.values(path)) {
      for (const parameter of parameters) {
        if (parameter.in !== 'query' || !parameter.examples) continue
        const [{ value }] = Object.values(parameter.examples)
        parameter.description = `${parameter.description ?? ''} For example \`${value}\`.`.trim()
        delete parameter.examples
      }
    }
  }
})
