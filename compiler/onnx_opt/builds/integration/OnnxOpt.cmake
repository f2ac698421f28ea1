# onnx-opt in CMake 3.20 or newer, with Ninja and with Makefiles.
#
#     onnx-opt integration cmake > cmake/OnnxOpt.cmake
#
#     include(cmake/OnnxOpt.cmake)
#     onnx_opt(detector                       # a target, built by default
#       MODEL models/detector.onnx            # relative to this CMakeLists.txt
#       OUTPUT detector.opt.onnx              # relative to the build folder; this is the default
#       FLAGS --fp16 --strict)
#     add_dependencies(my_program detector)
#     get_target_property(path detector ONNX_OPT_OUTPUT)
#
# The output is made again when the model, its external data, your own passes or your data change. `--cache` among the
# FLAGS, or in ONNX_OPT_FLAGS for all models, takes results that were made before.

include_guard(GLOBAL)
cmake_minimum_required(VERSION 3.20...4.0)
cmake_policy(SET CMP0116 NEW) # Ninja reads the dependency file as it is written

find_program(ONNX_OPT_COMMAND onnx-opt REQUIRED DOC "The onnx-opt command")
set(ONNX_OPT_FLAGS "" CACHE STRING "Flags of onnx-opt for all models")

function(onnx_opt name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "MODEL;OUTPUT" "FLAGS")
  if(NOT arg_MODEL OR arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "onnx_opt(${name}): write onnx_opt(NAME MODEL file [OUTPUT file] [FLAGS flag...])")
  endif()
  if(NOT arg_OUTPUT)
    set(arg_OUTPUT "${name}.opt.onnx")
  endif()
  get_filename_component(model "${arg_MODEL}" ABSOLUTE)
  get_filename_component(output "${arg_OUTPUT}" ABSOLUTE BASE_DIR "${CMAKE_CURRENT_BINARY_DIR}")
  get_filename_component(folder "${output}" DIRECTORY)
  file(MAKE_DIRECTORY "${folder}")
  add_custom_command(
    OUTPUT "${output}"
    COMMAND "${ONNX_OPT_COMMAND}" "${model}" -o "${output}" --depfile "${output}.d" ${ONNX_OPT_FLAGS} ${arg_FLAGS}
    DEPENDS "${model}"
    DEPFILE "${output}.d"
    WORKING_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}"
    COMMENT "Optimizing ${arg_MODEL}"
    VERBATIM)
  add_custom_target(${name} ALL DEPENDS "${output}")
  set_target_properties(${name} PROPERTIES ONNX_OPT_OUTPUT "${output}")
endfunction()
